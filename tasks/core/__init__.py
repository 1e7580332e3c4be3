"""What tasks are made of: settings, rendering, commands, nodes, fleets, reports."""
