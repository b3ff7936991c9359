"""What Faust's web server shows."""
