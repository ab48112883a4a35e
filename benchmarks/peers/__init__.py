"""Other libraries at the same work, each in an environment of its own under `build/peers`.

`requirements/NAME.txt` pins what is in it, `with_NAME.py` is the script that runs there and speaks
`protocol`; `driving` makes the environments and gives the orders, `table` names the peers and the ratios.
"""
