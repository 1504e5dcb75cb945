"""The vocabulary: plain values with no behaviour beyond arithmetic on themselves."""
