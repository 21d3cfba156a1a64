"""The ways of spending two models, one file each: `registry` names them, `strategy` is what they share."""
