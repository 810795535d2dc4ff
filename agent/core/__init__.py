"""The core: bytes and events in, commands out; no socket, file or clock, and the same source compiled or interpreted."""
