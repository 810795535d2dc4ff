"""Sockets, TLS and Twisted's reactor: nothing else in hoopctl knows of them.

poller      many sockets behind one reader of the reactor
stream      one socket, with TLS or without
dial        connections to servers
tls         contexts of both sides, channel binding
driver      performs a session's commands
listener    accepts clients
commit      tells sessions when their records are on the disk
control     the control API
service     all of it together: the agent
"""
