/** The little of autocannon that the bench uses; it brings no types. */
declare module 'autocannon' {
  interface Request {
    method?: string
    path?: string
    headers?: Record<string, string>
    body?: string
    setupRequest?: (request: Request) => Request
  }
  interface Options {
    url: string
    connections: number
    /** In seconds. */
    duration: number
    /** How often it looks whether it is time to stop, in milliseconds. */
    sampleInt: number
    requests?: Request[]
  }
  interface Result {
    errors: number
    timeouts: number
  }
  interface Run extends Promise<Result> {
    on(event: 'response', listener: (client: unknown, status: number, bytes: number, ms: number) => void): void
  }
  export default function autocannon(options: Options): Run
}
