"""PostgreSQL's frontend/backend protocol: https://www.postgresql.org/docs/current/protocol.html.

messages    framing: where a message begins and ends
errors      ErrorResponse and NoticeResponse
startup     what a client says before it is let in
login       how the agent logs in to a server
exchange    which answers belong to which requests
session     all of these in one state machine
"""
