"""The report in HTML: tables, figures, and every episode turn by turn."""
