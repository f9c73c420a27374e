"""Keys, secrets and what is made of them; limits on who asks how often, and from where."""
