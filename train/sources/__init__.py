"""Reading what a user brings: tables, pictures, ratings. A fault is a BadData that names file, row and column."""
