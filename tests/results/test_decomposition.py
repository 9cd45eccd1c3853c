"""One example of a batch, one of several targets."""

import torch


def test_one_example_of_a_batch(image):
    one = image.example(1)
    assert one.output.shape == (1,)
    torch.testing.assert_close(one.bias_attribution[0], image.bias_attribution[1])
    torch.testing.assert_close(one.sources.amounts[0], image.sources.amounts[1])
    assert one.target == [image.target[1]]
    assert image.example(-1).output[0] == image.output[2]
