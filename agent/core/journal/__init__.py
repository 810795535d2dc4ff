"""The journal's bytes: how records are framed and how what was framed is read back."""
