"""PDDL planning problems, told in words."""
