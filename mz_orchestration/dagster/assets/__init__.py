"""Assets for exports, loads and syncs, and for the objects of Materialize upstream of them."""
