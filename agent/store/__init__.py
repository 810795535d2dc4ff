"""Files: what outlives the agent.

journal         segments, group commit, recovery         seal        closed segments into Parquet, in its own process
evidence        the views over Parquet and journal       recovery    how sessions end that a lost agent left open
configuration   hoop.yaml, every problem at its line     control     the database of accounts and credentials
"""
