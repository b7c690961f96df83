"""Forms made from the recipe's own types: a new key shows up by itself."""
