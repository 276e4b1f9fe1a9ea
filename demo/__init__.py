"""`make demo`: five real models, trained, packed, served and held against themselves."""
