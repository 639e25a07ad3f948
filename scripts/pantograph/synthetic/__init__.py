"""Made-up people and places: the built-in body, and rendered clips whose truth is known."""
