"""From a detector to an ONNX file: conversion, what the converter lacks or gets wrong, and the check of the result."""
