"""Makes scores.json: random predictions and what seqeval 1.2.2 and scikit-learn say about them.

python3 -m venv venv && venv/bin/pip install seqeval==1.2.2 && venv/bin/python make_scores.py > scores.json
"""

import json
import random
import sys
import warnings

from seqeval.metrics import accuracy_score, classification_report
from seqeval.scheme import IOB2
from sklearn.metrics import classification_report as classes_report

warnings.filterwarnings("ignore")
random.seed(20)


def sentence(types, noise):
    """IOB2 tags; with probability `noise` a word's tag is any tag, so that invalid transitions occur."""
    tags, left, kind = [], 0, None
    for _ in range(random.randint(1, 14)):
        if random.random() < noise:
            tags.append(random.choice(["O"] + [p + t for p in ("B-", "I-") for t in types]))
            left = 0
        elif left > 0:
            tags.append("I-" + kind)
            left -= 1
        elif random.random() < 0.3:
            kind, left = random.choice(types), random.randint(0, 2)
            tags.append("B-" + kind)
        else:
            tags.append("O")
    return tags


def changed(tags, types, rate):
    every = ["O"] + [p + t for p in ("B-", "I-") for t in types]
    return [random.choice(every) if random.random() < rate else tag for tag in tags]


def tagging(types, count, noise, rate, labels=None):
    truth = [sentence(types, noise) for _ in range(count)]
    guess = [changed(tags, types, rate) for tags in truth]
    case = {"types": types, "truth": [" ".join(t) for t in truth], "guess": [" ".join(t) for t in guess]}
    case["accuracy"] = accuracy_score(truth, guess)
    for name, options in (("default", {}), ("strict", {"mode": "strict", "scheme": IOB2})):
        numbers = classification_report(truth, guess, output_dict=True, **options)
        case[name] = {
            "text": classification_report(truth, guess, digits=4, **options),
            "numbers": {k: [v["precision"], v["recall"], v["f1-score"], int(v["support"])] for k, v in numbers.items()},
        }
    return case


def classes(names, count, rate):
    truth = [random.choice(names) for _ in range(count)]
    guess = [random.choice(names) if random.random() < rate else t for t in truth]
    return {
        "names": names,
        "truth": " ".join(truth),
        "guess": " ".join(guess),
        "text": classes_report(truth, guess, digits=4),
    }


cases = [
    tagging(["PER", "LOC", "ORG", "MISC"], 60, 0.0, 0.0),
    tagging(["PER", "LOC", "ORG", "MISC"], 60, 0.0, 0.2),
    tagging(["PER", "LOC", "ORG", "MISC"], 60, 0.3, 0.3),
    tagging(["person", "creative-work", "a-very-long-type-of-entity"], 40, 0.1, 0.5),
    tagging(["X"], 30, 1.0, 1.0),
    tagging(["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K"], 50, 0.2, 0.2),
    tagging(["X", "Y"], 1, 0.0, 1.0),
]
json.dump(
    {"tagging": cases, "classes": [classes(["no", "yes"], 50, 0.5), classes(list("abcdefg"), 120, 0.6)]},
    sys.stdout,
    separators=(",", ":"),
)
