# The only entry. Logic lives in bootstrap.py (set-up) and in the code. ARGS goes to the program run: make test ARGS='-k lease'
PYTHON ?= python3
.PHONY: demo test check bench bless sqlx
demo test check bench bless sqlx:
	@$(PYTHON) bootstrap.py $@ $(ARGS)
