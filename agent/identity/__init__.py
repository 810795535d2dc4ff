"""Who acts, and how that is proved: service accounts and their tokens, the slowing of guesses, certificates."""
