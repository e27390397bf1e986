"""How each kind of figure is drawn: one module a kind.

Each defines ``draw(root, plan, paper, content)``, which gives the canvas and the numbers behind
it. They are found by the kind's name, so that an edit of one leaves figures of other kinds alone.
"""
