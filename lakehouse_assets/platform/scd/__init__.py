"""Tables with a state: changes of keys merged into current rows and versions."""
