"""The command line. main.py is a table of commands; one file a command, imported when it is called."""
