"""What the studies found, as text and tables: one file a study, named as its study is."""
