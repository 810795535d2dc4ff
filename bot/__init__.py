"""The Slack bot: approval messages, their states and their rendering. Nothing of it is in this version."""
