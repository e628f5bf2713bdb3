"""Models of vlaec for sets of small images; see the entry-point group `vlaec.models`."""
