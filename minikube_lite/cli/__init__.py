"""What a person types. The only floor that prints, reads the terminal or picks an exit code."""
