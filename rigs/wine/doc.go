package wine
