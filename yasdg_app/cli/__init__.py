"""The command line beside that of Faust: one file a command."""
