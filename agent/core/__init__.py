"""The core: bytes and events in, commands out. No socket, file or clock; compiled or interpreted from one source."""
