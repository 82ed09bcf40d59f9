# Tells every client what accept() and, once there is data, getpeername() say of it.
import socket
import sys

family, port = sys.argv[1:]
listener = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("::" if family == "6" else "0.0.0.0", int(port)))
listener.listen(64)
print("listening", flush=True)
while True:
    connection, (accepted, *rest) = listener.accept()
    connection.recv(4096)
    peer, peer_port, *_ = connection.getpeername()
    answer = f"accept {accepted} {rest[0]} getpeername {peer} {peer_port}\n"
    try:
        connection.sendall(answer.encode())
        connection.close()
    except OSError as error:
        print(error, flush=True)
