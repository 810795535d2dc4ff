"""The agent: it stands between whoever acts and what is acted on.

    socket -> net.listener -> net.driver -> core.<protocol> decodes, records, decides -> net.driver -> socket

core        sans-IO and compiled: events in, commands out. core.session is the interface, core.pg the first protocol,
            core.sql what a statement would do, core.policy what is allowed, core.journal how evidence is framed,
            core.limits every bound
net         Twisted, sockets, TLS; net.driver alone performs commands, net.service is the agent as a whole
store       files: the journal and its sealing into Parquet, the evidence's views, hoop.yaml, the control database
identity    service accounts, credentials, the agent's own certificate authority

Imports go net -> identity | store -> core -> schemas, never back.
"""
