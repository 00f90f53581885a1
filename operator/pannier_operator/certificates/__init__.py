"""The webhooks' certificate where nobody else makes one: when what is renewed, made, kept, and told."""
