"""Which credentials and which transport a request needs: a table, and the decision."""
