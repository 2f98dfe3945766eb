"""The verbs that people call: configure, scope, bind."""
