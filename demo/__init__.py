"""`make demo`: three real models, trained, packed, served and held against themselves."""
