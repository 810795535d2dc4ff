"""The core: bytes and events in, commands out. No socket, no file, no clock; the same source compiled or interpreted."""
