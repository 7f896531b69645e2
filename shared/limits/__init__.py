"""How much of the service one caller may take, and all of them together."""
