"""The core: bytes and events in, commands out. No socket, no file, no clock; compiled or interpreted alike."""
