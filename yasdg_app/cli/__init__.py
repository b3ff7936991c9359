"""The commands of `yasdg` in addition to those of Faust: one file per command."""
