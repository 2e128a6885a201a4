"""The formulas once more in NumPy, row by row and pair by pair, from the papers."""

import itertools

import numpy as np


def vectors(table, numeric, row, sizes, tags):
    """Vectors [F] of one row; `row`: ids as (field, id or ids) pairs without offsets, then numbers."""
    ids, numbers = row
    starts = np.cumsum([0, *sizes.values()])
    found = []
    for (name, _), start in zip(sizes.items(), starts):
        if name == "tags":
            present = [table[start + tag] for tag in ids[name] if tag]
            found.append(sum(present) / len(present) if present else np.zeros(table.shape[1]))
        else:
            found.append(table[start + ids[name]])
    return found + [number * vector for number, vector in zip(numbers, numeric)]


def second_order(e):
    return sum(np.dot(a, b) for a, b in itertools.combinations(e, 2))


def products(e):
    return [a * b for a, b in itertools.combinations(e, 2)]


def softmax(values):
    exponentials = np.exp(np.asarray(values) - np.max(values))
    return exponentials / exponentials.sum()


def dense(x, layers):
    """Hidden layers (kernel, bias, batch norm or None) with ReLU, and the last (kernel, bias)."""
    *hidden, (kernel, bias) = layers
    for weight, offset, norm in hidden:
        x = x @ weight + offset
        if norm is not None:
            gamma, beta, mean, variance = norm
            x = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
        x = np.maximum(x, 0)
    return float(x @ kernel[:, 0] + bias[0])


def afm(e, kernel, bias, h, p):
    """The attended second order."""
    pairs = products(e)
    weights = softmax([np.maximum(pair @ kernel + bias, 0) @ h[:, 0] for pair in pairs])
    return sum(weight * pair for weight, pair in zip(weights, pairs)) @ p[:, 0]


def attention(e, queries, keys, values, residual, heads, scale, norm):
    """One AutoInt layer: a list of F vectors."""
    size = queries.shape[1] // heads
    out = []
    for own in e:
        joined = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = [np.dot(own @ queries[:, part], other @ keys[:, part]) for other in e]
            weights = softmax(np.array(scores) / (np.sqrt(size) if scale else 1))
            joined.append(sum(weight * (other @ values[:, part]) for weight, other in zip(weights, e)))
        total = np.concatenate(joined)
        if residual is not None:
            total = total + own @ residual
        if norm is not None:
            gamma, beta = norm
            total = gamma * (total - total.mean()) / np.sqrt(total.var() + 1e-5) + beta
        out.append(np.maximum(total, 0))
    return out
