"""What is replaced of Faust."""
