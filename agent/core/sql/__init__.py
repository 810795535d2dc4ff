"""What a statement's text tells by itself."""
