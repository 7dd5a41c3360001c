"""Which tokens may come next, and how many of them are worth a try.

A reader predicts several at once and keeps what proves right. Guesses change time, never content: they may come from
anywhere, a clock included.
"""

ORDERS = (6, 4, 3, 2)  # tokens of a context, the longest first
SLOTS = 1 << 17  # of what followed a context; two that share one are taken for the same, and guess wrong
MOST_STREAK = 3  # times that the same followed, as far as they are told apart
MOST = 15  # guesses for a lane at a time
FADES = 0.98  # what a call's time is worth after the next one


class Guesser:
    """What followed the longest context of tokens that was seen before in any lane, and how often it was right."""

    def __init__(self, lanes: int) -> None:
        self._followed = [-1] * SLOTS  # token << 2 | streak
        self._contexts: list[tuple[int, ...]] = [()] * lanes
        self._slots = [_slots(())] * lanes
        self._right = [[1.0] * (MOST_STREAK + 1) for _ in ORDERS]
        self._tried = [[2.0] * (MOST_STREAK + 1) for _ in ORDERS]

    def see(self, lane: int, token: int) -> None:
        """The next token of a lane is known."""
        is_guess = True  # only the longest context that was seen guesses
        for order, slot in enumerate(self._slots[lane]):
            value = self._followed[slot]
            streak = value & 3 if value >= 0 else 0
            is_right = value >> 2 == token
            if value >= 0 and is_guess:
                self._right[order][streak] += is_right
                self._tried[order][streak] += 1
                is_guess = False
            self._followed[slot] = token << 2 | (min(streak + 1, MOST_STREAK) if is_right else 0)
        self._contexts[lane] = (*self._contexts[lane], token)[-ORDERS[0] :]
        self._slots[lane] = _slots(self._contexts[lane])

    def guess(self, lane: int, most: int, worth: float) -> list[int]:
        """Tokens that may come next, at most so many, each as likely right as it must be to be `worth` it."""
        guesses: list[int] = []
        context, slots, chance = self._contexts[lane], self._slots[lane], 1.0
        while len(guesses) < most:
            values = [self._followed[slot] for slot in slots]
            order = next((i for i, value in enumerate(values) if value >= 0), None)
            if order is None:
                break
            streak = values[order] & 3
            chance *= self._right[order][streak] / self._tried[order][streak]
            if chance < worth:
                break
            guesses.append(values[order] >> 2)
            context = (*context, guesses[-1])[-ORDERS[0] :]
            slots = _slots(context)
        return guesses


def _slots(context: tuple[int, ...]) -> list[int]:
    return [hash((order, *context[-order:])) % SLOTS for order in ORDERS]


class Costs:
    """What a call takes: a part for the call, and one for each of its rows, as measured here and now."""

    def __init__(self) -> None:
        self._sums = [0.0] * 5  # of calls, rows, rows squared, seconds, rows times seconds

    def add(self, rows: int, seconds: float) -> None:
        new = (1.0, rows, rows * rows, seconds, rows * seconds)
        self._sums = [FADES * old + each for old, each in zip(self._sums, new, strict=True)]

    def worth(self, lanes: int) -> float:
        """How likely right a guess must be, in a call on so many lanes, to bring more than it takes."""
        n, rows, squares, seconds, products = self._sums
        spread = n * squares - rows * rows
        if n == 0 or spread < n * n / 100:
            return 0.3  # not known yet
        row = max(0.0, (n * products - rows * seconds) / spread)
        call = max(0.0, (seconds - row * rows) / n)
        return lanes * row / (call + lanes * row) if row else 0.0
