"""How kube-nginx behaves when apiservers fail, beside its peers' settings: `behaviour.py` writes the page."""
