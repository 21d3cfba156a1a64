"""The screens, front ends and command line of atts. Imports atts_core, never the other way round."""
