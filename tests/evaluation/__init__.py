"""Tests of franca.evaluation."""
