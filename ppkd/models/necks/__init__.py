"""Networks that mix the backbone's levels."""
