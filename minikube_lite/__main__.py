"""`python -m minikube_lite`: the same as the command `minikube-lite`."""

from minikube_lite.cli.main import main

main()
