"""Where a bundle can be served: one module for each kind of place."""
