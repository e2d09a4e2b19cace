"""A picture of what an agent learned: its values over a plane of states, and what it imagines beside what happens.

Values are Q(s, aim(s)), where the aim is the next state that the policy tries to reach. An *imagined* trajectory comes
from the agent alone: s ← C(s, τ(s)) or s ← aim(s), again and again from a reset state. The *real* one is what the
environment does from the same reset when the policy acts.

InvertedPendulum's plane is (angle, angular velocity), Reacher's the fingertip's position; there is a module for each.
Other environments have no plane: each dimension of the state is drawn against the steps.
"""

from lfo.reporting.portraits.measure import draw as draw
from lfo.reporting.portraits.measure import portrait as portrait
from lfo.reporting.portraits.measure import save as save
from lfo.reporting.portraits.measure import typical_member as typical_member

__all__ = ["draw", "portrait", "save", "typical_member"]
